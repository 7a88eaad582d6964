"""The verdict table: what each kind of error means for a job. Data alone; ``classify.py`` reads it.

For example, ``openai.APITimeoutError`` is TIMED_OUT: it is tried again. A row names a class by its top
package and name, and matches its subclasses too, since ADK and the providers' clients raise private ones.
Nothing of them is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from agentjobs.agents.verdict.outcome import Verdict
from agentjobs.values.model_answer import ModelAnswer
from agentjobs.values.question_kinds import QuestionKind
from agentjobs.values.reasons import Reason
from agentjobs.values.setting_names import both_names


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of the table: the verdict and reason of an error, and the message for people."""

    verdict: Verdict
    reason: Reason
    told: str
    """One or two sentences: what happened, and what to do."""
    quote: bool = True
    """Whether the message may quote the error's text. False where that is known to hold prompts or
    answers."""
    model_answer: ModelAnswer | None = None
    """What the error says about the model, if the model's call raised it. None: nothing."""


RATE_LIMITED = Rule(
    Verdict.SNOOZE,
    Reason.MODEL_RATE_LIMITED,
    "The model provider's rate limit or quota is reached. The attempt is not charged; it goes on by itself.",
    model_answer=ModelAnswer.RATE_LIMITED,
)
OVERLOADED = Rule(
    Verdict.SNOOZE,
    Reason.MODEL_UNAVAILABLE,
    "The model provider is overloaded and said when to come back. The attempt is not charged.",
    model_answer=ModelAnswer.UNAVAILABLE,
)
SERVER_ERROR = Rule(
    Verdict.RETRY,
    Reason.MODEL_SERVER_ERROR,
    "The model provider failed.",
    model_answer=ModelAnswer.UNAVAILABLE,
)
REQUEST_INVALID = Rule(
    Verdict.FAIL,
    Reason.MODEL_REQUEST_INVALID,
    "The model provider refused the request, and would again. Correct message, agent or its configuration.",
)
AUTH_FAILED = Rule(
    Verdict.FAIL,
    Reason.MODEL_AUTH_FAILED,
    "The model provider refused the key, or none is set. Correct the model's key in the worker's environment (agentjobs local: .env), and "
    "its permissions.",
    model_answer=ModelAnswer.KEY_REFUSED,
)

_KEY_PLACE = "in the worker's environment (agentjobs local: in .env beside the agent, or in this shell)."
NO_GEMINI_KEY = replace(
    AUTH_FAILED, told=f"Gemini's key is not set: set GOOGLE_API_KEY {_KEY_PLACE}", quote=False
)
NO_VERTEX_PROJECT = replace(
    AUTH_FAILED,
    told=f"Vertex AI has neither a project nor a key: set GOOGLE_CLOUD_PROJECT and GOOGLE_CLOUD_LOCATION, or GOOGLE_API_KEY, {_KEY_PLACE}",
    quote=False,
)
MODEL_NOT_FOUND = Rule(
    Verdict.FAIL,
    Reason.MODEL_NOT_FOUND,
    "There is no such model. Correct the agent's model; or install what provides it where the worker runs (in a cluster: in its image): litellm for names with a slash, else what ADK names.",
)
TIMED_OUT = Rule(
    Verdict.RETRY,
    Reason.MODEL_TIMEOUT,
    f"The model provider did not answer in time ({both_names('model_timeout_seconds')}).",
    model_answer=ModelAnswer.UNAVAILABLE,
)
UNREACHABLE = Rule(
    Verdict.RETRY,
    Reason.MODEL_UNREACHABLE,
    "The model provider could not be reached.",
    model_answer=ModelAnswer.UNAVAILABLE,
)
UNREADABLE = Rule(
    Verdict.RETRY,
    Reason.MODEL_RESPONSE_INVALID,
    "The model's answer could not be read.",
    quote=False,
)
BLOCKED = Rule(
    Verdict.FAIL,
    Reason.MODEL_SAFETY_BLOCKED,
    "The model provider blocked the prompt or the answer, and would again. Change message or instruction.",
)
TRUNCATED = Rule(
    Verdict.FAIL,
    Reason.MODEL_OUTPUT_TRUNCATED,
    "The answer was cut at the model's output limit. Raise maxOutputTokens, or ask for less.",
)
EMPTY = Rule(
    Verdict.RETRY,
    Reason.EMPTY_ANSWER,
    "The run ended without a final answer, or with an empty one.",
)
MODEL_ERROR = Rule(Verdict.RETRY, Reason.MODEL_ERROR, "The model reported an error.")
REFUSED_BY_CLIENT = Rule(
    Verdict.FAIL,
    Reason.MODEL_REQUEST_INVALID,
    "The model's client refused the request before it was sent, and would again. Correct the agent or its configuration.",
)
NO_ADDRESS = Rule(
    Verdict.FAIL,
    Reason.MODEL_REQUEST_INVALID,
    "The model's client misses the provider's address, or the account there. Set it in the worker's environment, such as "
    "AZURE_AI_API_BASE (agentjobs local: .env), or give the model an api_base.",
)
BUDGET = Rule(
    Verdict.FAIL,
    Reason.BUDGET_EXCEEDED,
    "The next model call would exceed the job's budget (spec.budget). Raise it in a new job.",
)
CALL_LIMIT = Rule(
    Verdict.FAIL,
    Reason.LLM_CALLS_EXCEEDED,
    "One run made more model calls than ADK's limit (ADK_MAX_LLM_CALLS, 500). The agent loops; correct it.",
)
ASK = Rule(
    Verdict.ASK,
    Reason.INPUT_REQUIRED,
    "The agent asks whether it may call a tool, and waits for the answer.",
)
ASKS: dict[str, Rule] = {
    QuestionKind.CONFIRMATION: ASK,
    QuestionKind.LONG_RUNNING: replace(ASK, told="The agent waits for the result of a long-running tool."),
    QuestionKind.INPUT: replace(ASK, told="The agent waits for an input."),
}
"""By the kind of the first question."""
INPUT_UNSUPPORTED = Rule(
    Verdict.FAIL,
    Reason.INPUT_UNSUPPORTED,
    "The agent waits for a person or for a long-running tool, and nobody can answer it there; the tool was not begun.",
)
CONFLICT = Rule(
    Verdict.RETRY,
    Reason.SESSION_CONFLICT,
    "Something else wrote to the session during the run.",
)
AGENT_INVALID = Rule(Verdict.FAIL, Reason.AGENT_INVALID, "ADK does not accept the agent. Correct it.")
OUT_OF_MEMORY = Rule(
    Verdict.RETRY,
    Reason.OUT_OF_MEMORY,
    f"The run took more memory than the pool gives to one job ({both_names('memory_limit_mib')}). Let the agent take "
    "less, or raise the limit.",
)
TOOL_FAILED = Rule(Verdict.RETRY, Reason.TOOL_FAILED, "A tool failed.")
TOOL_CANCELLED = Rule(
    Verdict.RETRY,
    Reason.TOOL_FAILED,
    "The tool let a CancelledError out, though nobody had cancelled the run.",
)
RESULT_INVALID = Rule(
    Verdict.RETRY,
    Reason.TOOL_FAILED,
    "Its result has a key that is no text, which no model can be told. Let the tool return text as keys.",
    quote=False,
)
RESULT_IS_ERROR = Rule(Verdict.RETRY, Reason.TOOL_FAILED, "Its result was to be the answer, and is an error.")
TOOLS_LOST = Rule(
    Verdict.RETRY,
    Reason.TOOL_FAILED,
    "It did not load, and the model was not asked without it.",
)
AGENT_FAILED = Rule(Verdict.RETRY, Reason.AGENT_FAILED, "The agent's own code failed.")
AGENT_REPORTED = Rule(Verdict.RETRY, Reason.AGENT_FAILED, "The agent, or a remote one, reported an error.")
STATE_NOT_WRITTEN = Rule(
    Verdict.RETRY,
    Reason.AGENT_FAILED,
    "The agent's instruction names a {variable} that another agent of this run writes (output_key), and has not written. "
    "Write {variable?} where that agent may be left out.",
)
CANCELLED_INSIDE = Rule(
    Verdict.RETRY,
    Reason.AGENT_FAILED,
    "The agent's own code let a CancelledError out, though nobody had cancelled the run.",
)
UNKNOWN = Rule(Verdict.RETRY, Reason.UNKNOWN_ERROR, "An error that is not known to this version.")
CANCELLED = Rule(Verdict.CANCELLED, Reason.CANCELLED, "The run was stopped because it was asked to.")

BY_STATUS: dict[int, Rule] = {
    401: AUTH_FAILED,
    403: AUTH_FAILED,
    404: MODEL_NOT_FOUND,
    408: TIMED_OUT,
    409: SERVER_ERROR,
    425: SERVER_ERROR,
    429: RATE_LIMITED,
    499: SERVER_ERROR,
    504: TIMED_OUT,
}
"""Rules by HTTP status of a model provider. Other 4xx are REQUEST_INVALID, other 5xx SERVER_ERROR."""

SNOOZES_WHEN_IT_NAMES_A_DELAY = frozenset({503, 529})
"""Statuses of an overloaded provider. With a delay the job snoozes. Without one the attempt is charged like
any 5xx, since its prompt may be the cause. The model's breaker counts both."""

API_ERRORS = frozenset(
    {
        "google.APIError",
        "google.GoogleAPICallError",
        "openai.APIStatusError",
        "openai.APIError",
        "anthropic.APIStatusError",
        "google.GenAiError",
        "httpx.HTTPStatusError",
        "httpx2.HTTPStatusError",
        "requests.RequestException",
        "aiohttp.ClientResponseError",
        "litellm.APIError",
        "litellm.APIConnectionError",
    }
)
"""Classes whose errors carry an HTTP status in ``code``, ``status_code``, ``status`` or ``response``."""

WHEREVER_RAISED: dict[str, Rule] = {"builtins.MemoryError": OUT_OF_MEMORY}
"""Rules by class that count first, and also where a tool raised the error."""

BY_CLASS: dict[str, Rule] = {
    # requests, not errors
    "asyncio.CancelledError": CANCELLED,
    # the session
    "google.StaleSessionError": CONFLICT,
    "google.AlreadyExistsError": CONFLICT,
    "google.SessionNotFoundError": CONFLICT,
    "sqlalchemy.IntegrityError": CONFLICT,
    # the agent
    "google.LlmCallsLimitExceededError": CALL_LIMIT,
    "google.WorkflowConfigurationError": AGENT_INVALID,
    "google.NodeTimeoutError": Rule(
        Verdict.RETRY, Reason.AGENT_FAILED, "A step of the agent exceeded its own timeout."
    ),
}
"""Rules by class, wherever but in a tool the error was raised."""

BY_ANSWER_CLASS: dict[str, Rule] = {
    "google.UnknownApiResponseError": UNREADABLE,
    "google.APIResponseValidationError": UNREADABLE,
    "google.ResponseValidationError": UNREADABLE,
    "anthropic.APIResponseValidationError": UNREADABLE,
    "openai.APIResponseValidationError": UNREADABLE,
    "aiohttp.ContentTypeError": UNREADABLE,
    "httpx.DecodingError": UNREADABLE,
    "httpx2.DecodingError": UNREADABLE,
    "requests.ContentDecodingError": UNREADABLE,
    "json.JSONDecodeError": UNREADABLE,
    "pydantic_core.ValidationError": UNREADABLE,
}
"""Rules by class for errors of reading an answer: of a model's call, or raised by ADK itself, which validates an
answer by the agent's schema. In the agent's own code they say nothing about the model."""

BY_CALL_CLASS: dict[str, Rule] = {
    **BY_ANSWER_CLASS,
    # time
    "builtins.TimeoutError": TIMED_OUT,
    "httpx.TimeoutException": TIMED_OUT,
    "httpx2.TimeoutException": TIMED_OUT,
    "aiohttp.ServerTimeoutError": TIMED_OUT,
    "openai.APITimeoutError": TIMED_OUT,
    "anthropic.APITimeoutError": TIMED_OUT,
    "google.APITimeoutError": TIMED_OUT,
    "google.TimeoutError": TIMED_OUT,
    "requests.Timeout": TIMED_OUT,
    # requests that never leave: an address without a host, a header with a line break
    "httpx.InvalidURL": REFUSED_BY_CLIENT,
    "httpx.UnsupportedProtocol": REFUSED_BY_CLIENT,
    "httpx.LocalProtocolError": REFUSED_BY_CLIENT,
    "httpx2.InvalidURL": REFUSED_BY_CLIENT,
    "httpx2.UnsupportedProtocol": REFUSED_BY_CLIENT,
    "httpx2.LocalProtocolError": REFUSED_BY_CLIENT,
    "aiohttp.InvalidURL": REFUSED_BY_CLIENT,
    "aiohttp.NonHttpUrlClientError": REFUSED_BY_CLIENT,
    "requests.InvalidURL": REFUSED_BY_CLIENT,
    "requests.InvalidSchema": REFUSED_BY_CLIENT,
    "requests.MissingSchema": REFUSED_BY_CLIENT,
    "requests.InvalidHeader": REFUSED_BY_CLIENT,
    "requests.InvalidJSONError": REFUSED_BY_CLIENT,
    "openai.OpenAIError": REFUSED_BY_CLIENT,
    "anthropic.AnthropicError": REFUSED_BY_CLIENT,
    "litellm.BudgetExceededError": REFUSED_BY_CLIENT,
    # an error in the middle of a stream, whose status was 200
    "openai.APIError": MODEL_ERROR,
    "anthropic.APIError": MODEL_ERROR,
    "google.GeminiNextGenAPIClientError": MODEL_ERROR,
    "google.GenAiError": MODEL_ERROR,
    # transport
    "aiohttp.ClientError": UNREACHABLE,
    "google.APIConnectionError": UNREACHABLE,
    "google.NoResponseError": UNREACHABLE,
    "google.ContinuationInterruptedError": UNREACHABLE,
    "requests.RequestException": UNREACHABLE,
    "httpx.RequestError": UNREACHABLE,
    "httpx2.RequestError": UNREACHABLE,
    "openai.APIConnectionError": UNREACHABLE,
    "anthropic.APIConnectionError": UNREACHABLE,
    "builtins.ConnectionError": UNREACHABLE,
    "socket.gaierror": UNREACHABLE,
    "ssl.SSLError": UNREACHABLE,
    "google.TransportError": UNREACHABLE,
    "google.ResponseError": UNREACHABLE,
    "google.GoogleAuthError": AUTH_FAILED,
    "anthropic.CredentialsError": AUTH_FAILED,
    "anthropic.WorkloadIdentityError": AUTH_FAILED,
}
"""Rules by class for errors of a model's call. The status of an error that carries one counts before its class. A
client's base class catches what its later versions add."""

LITELLM_KNOWS_BETTER: dict[str, Rule] = {
    "litellm.ContextWindowExceededError": REQUEST_INVALID,
    "litellm.ContentPolicyViolationError": BLOCKED,
    "litellm.JSONSchemaValidationError": UNREADABLE,
    "litellm.Timeout": TIMED_OUT,
}
"""Rules for LiteLLM's classes that tell more than a status. For its other classes, the error beneath decides
(``classify.told_by``)."""

BY_REQUEST_CLASS: dict[str, Rule] = {
    "pydantic_core.ValidationError": Rule(
        Verdict.FAIL, REQUEST_INVALID.reason, REQUEST_INVALID.told, quote=False
    ),
}
"""Rules by class for errors of a model's call that are raised while its request is built. They count before
BY_CALL_CLASS."""

BY_TEXT: tuple[tuple[str, str, Rule], ...] = (
    # ADK, google-genai and openai have no classes of their own for these
    ("builtins.ValueError", r"^Model \S+ not found\.", MODEL_NOT_FOUND),
    ("builtins.ValueError", r"^No API key was provided\.", NO_GEMINI_KEY),
    ("builtins.ValueError", r"^Project or API key must be set\b", NO_VERTEX_PROJECT),
    ("builtins.ValueError", r"^No Anthropic credential was found\b", AUTH_FAILED),
    ("openai.OpenAIError", r"^Missing credentials\.", AUTH_FAILED),
    # what LiteLLM finds missing by itself has a status all the same
    ("litellm.APIConnectionError", r"\b[A-Z]+_API_KEY is not set\b", AUTH_FAILED),
    ("litellm.BadRequestError", r"\bAPI key are not set\b", AUTH_FAILED),
    (
        "litellm.APIConnectionError",
        r"(?i)\bapi_base is required\b|\brequire an api_base\b|\bMissing (snowflake |CLOUDFLARE_)account_id\b",
        NO_ADDRESS,
    ),
    ("builtins.ValueError", r"GOOGLE_CLOUD_PROJECT and GOOGLE_CLOUD_LOCATION must be set\b", AUTH_FAILED),
    (
        "builtins.ValueError",
        r"^Must provide one of the `base_url` or `azure_endpoint` arguments\b",
        NO_ADDRESS,
    ),
    (
        "builtins.KeyError",
        r"Context variable not found",
        Rule(
            Verdict.FAIL,
            Reason.AGENT_INVALID,
            "The agent's instruction names a {variable} that the session's state does not have. Write {variable?} to "
            "leave it empty, or set it, such as by the job's spec.state.",
        ),
    ),
)
"""(class, regular expression, rule) of errors that only their text tells apart."""

API_KEY_TEXTS = ("API_KEY_INVALID", "API key not valid", "API key expired")
"""Texts in a 400 about the key: without them, a 400 is about the request."""

BY_EVENT_CODE: dict[str, Rule] = {
    # blocked: finish reasons and block reasons of Gemini (ADK gives LiteLLM's these names)
    **dict.fromkeys(
        (
            "SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "MODEL_ARMOR",
            "JAILBREAK", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "LANGUAGE",
        ),
        BLOCKED,
    ),
    "MAX_TOKENS": TRUNCATED,
    "MALFORMED_FUNCTION_CALL": UNREADABLE,
    "UNEXPECTED_TOOL_CALL": UNREADABLE,
    "TOO_MANY_TOOL_CALLS": UNREADABLE,
    "MODEL_RETURNED_NO_CONTENT": EMPTY,
    "NO_IMAGE": EMPTY,
    "INVOCATION_ABORTED": CANCELLED,
}  # fmt: skip
"""Rules by error code of ADK events that no exception follows. Other codes: a number is an HTTP status, a
name may be that of a class, and the rest is MODEL_ERROR."""


def rows() -> frozenset[str]:
    """The names of all rows, as ``Judgement.row`` has them."""
    return frozenset(
        (
            *(f"status {status}" for status in BY_STATUS),
            *(f"status {status} with a delay" for status in SNOOZES_WHEN_IT_NAMES_A_DELAY),
            *("status 400 about the key", "status 4xx", "status 5xx"),
            *(f"class {name}" for name in (*BY_CLASS, *BY_CALL_CLASS, *LITELLM_KNOWS_BETTER)),
            *(f"request's class {name}" for name in BY_REQUEST_CLASS),
            *(f"text {pattern}" for _, pattern, _ in BY_TEXT),
            *(f"code {code}" for code in BY_EVENT_CODE),
            *("code of no row", "no code", "tool", "tool's result", "client", "answer", "token", "state"),
            *("agent", "unknown"),
        )
    )
