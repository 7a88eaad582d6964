"""Multi-agent: a coordinator that hands the conversation over to a specialist."""

from google.adk.agents import LlmAgent


def find_invoice(number: str) -> dict[str, object]:
    """Looks an invoice up.

    Args:
        number: The invoice's number, such as A-17.

    Returns:
        Its amount and whether it is paid.
    """
    return {"status": "success", "number": number, "amount_eur": 120, "paid": False}


billing = LlmAgent(
    name="Billing",
    model="gemini-2.5-flash",
    description="Handles billing inquiries.",
    instruction="Answer questions about invoices. Use find_invoice.",
    tools=[find_invoice],
)

support = LlmAgent(
    name="Support",
    model="gemini-2.5-flash",
    description="Handles technical support requests.",
    instruction="Help with technical problems.",
)

root_agent = LlmAgent(
    name="HelpDeskCoordinator",
    model="gemini-2.5-flash",
    description="Main help desk router.",
    instruction="Route user requests: use the Billing agent for payment issues, Support for technical problems.",
    sub_agents=[billing, support],
)
