"""An app on starsessions, or on starlette-session where SIGNER is set. It knows nothing of the gateway."""

import os

import uvicorn
from redis import Redis
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse
from starlette.routing import Route

port = int(os.environ["REDIS_PORT"])
if os.environ.get("SIGNER"):
    from starlette_session import SessionMiddleware
    from starlette_session.backends import BackendType

    options = {"backend_type": BackendType.redis, "backend_client": Redis(port=port)}
    middleware = [
        Middleware(SessionMiddleware, secret_key=os.environ["SESSION_SECRET"], cookie_name="session", **options)
    ]

    def renew(request):
        pass
else:
    from starsessions import SessionAutoloadMiddleware, SessionMiddleware, regenerate_session_id as renew
    from starsessions.stores.redis import RedisStore

    store = RedisStore(f"redis://127.0.0.1:{port}", prefix=lambda key: f"starsessions.{key}")
    middleware = [
        Middleware(SessionMiddleware, store=store, lifetime=3600, cookie_https_only=False),
        Middleware(SessionAutoloadMiddleware),
    ]


async def form(request):
    return HTMLResponse('<form method="post"><input name="user"><button>Log in</button></form>')


async def login(request):
    fields = await request.form()
    user = fields.get("user", "zoe")
    roles = [role for role in fields.get("roles", "").split(",") if role]
    renew(request)
    request.session["user"] = {"id": int(user) if user.isdigit() else user, "roles": roles}
    request.session["count"] = 0
    return RedirectResponse("/", 303)


async def increment(request):
    if "user" not in (request.session or {}):
        return JSONResponse({"error": "log in first"}, 403)
    request.session["count"] += 1
    return JSONResponse({"count": request.session["count"]})


async def logout(request):
    request.session.clear()
    return JSONResponse({"bye": True})


async def index(request):
    session = request.session or {}
    seen = dict(request.headers)
    return JSONResponse({"user": session.get("user"), "count": session.get("count"), "seen": seen})


app = Starlette(
    middleware=middleware,
    routes=[
        Route("/login", form, methods=["GET"]),
        Route("/login", login, methods=["POST"]),
        Route("/increment", increment, methods=["POST"]),
        Route("/logout", logout, methods=["POST"]),
        Route("/{path:path}", index),
    ],
)

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["PORT"]), log_level="warning")
