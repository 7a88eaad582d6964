"""Sequential: each step leaves its output in the state, and the next one's instruction reads it."""

from google.adk.agents import LlmAgent, SequentialAgent

writer = LlmAgent(
    name="CodeWriter",
    model="gemini-2.5-flash",
    instruction="Write Python code for the user's request. Output only the code.",
    output_key="generated_code",
)

reviewer = LlmAgent(
    name="CodeReviewer",
    model="gemini-2.5-flash",
    instruction="Review this code:\n{generated_code}\nList what to change, or say: No major issues found.",
    output_key="review_comments",
)

refactorer = LlmAgent(
    name="CodeRefactorer",
    model="gemini-2.5-flash",
    instruction="Improve the code:\n{generated_code}\nFollow the review:\n{review_comments}\nOutput only the code.",
    output_key="refactored_code",
)

root_agent = SequentialAgent(
    name="CodePipeline",
    description="Writes, reviews and refactors code.",
    sub_agents=[writer, reviewer, refactorer],
)
