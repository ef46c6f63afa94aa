"""The dashboard as `make app` starts it: app.py behind a guard (see snapvit/server.py)."""

from starlette.middleware import Middleware
from streamlit.starlette import App

from snapvit.server import Guard, sweeping

app = App("app.py", middleware=[Middleware(Guard)], lifespan=sweeping)
