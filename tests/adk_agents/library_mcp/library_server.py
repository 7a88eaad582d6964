"""A small MCP server over stdio."""

from pathlib import Path

try:
    from mcp.server import MCPServer as Server
except ImportError:  # mcp 1
    from mcp.server.fastmcp import FastMCP as Server  # type: ignore[attr-defined, no-redef]

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
