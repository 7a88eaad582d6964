"""MCP: tools of a local server, which is started as a process of its own and spoken to over stdio."""

import sys
from pathlib import Path

from google.adk.agents import LlmAgent
from google.adk.tools.mcp_tool import McpToolset, StdioConnectionParams
from mcp import StdioServerParameters

SERVER = Path(__file__).parent / "library_server.py"

root_agent = LlmAgent(
    name="librarian",
    model="gemini-2.5-flash",
    instruction="Help the user to find books. Use the library's tools.",
    tools=[
        McpToolset(
            connection_params=StdioConnectionParams(
                server_params=StdioServerParameters(command=sys.executable, args=[str(SERVER)]), timeout=60
            ),
            tool_filter=["find_book"],
        )
    ],
)
