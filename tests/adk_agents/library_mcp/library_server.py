"""A small MCP server over stdio."""

from pathlib import Path

try:
    from mcp.server.fastmcp import FastMCP as Server
except ImportError:  # mcp 2
    from mcp.server import MCPServer as Server

server = Server("library")


@server.tool()
def find_book(title: str) -> str:
    """Tells on which shelf a book stands."""
    return f"{title} stands on shelf 7 (server of {Path(__file__).parent.name})"


@server.tool()
def burn_book(title: str) -> str:
    """Is filtered out by the agent."""
    return f"{title} is gone"


if __name__ == "__main__":
    server.run()
