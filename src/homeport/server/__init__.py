"""The API server: requests in, responses out; state only through the store's contract."""

from homeport.server.app import Server
from homeport.server.settings import Settings

__all__ = ["Server", "Settings"]
