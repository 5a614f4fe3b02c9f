"""An app on Flask-Session, with Flask-Login where LOGIN is set. It knows nothing of the gateway."""

import os

from flask import Flask, jsonify, redirect, request, session
from flask_login import LoginManager, UserMixin, login_user, logout_user
from flask_session import Session
from redis import Redis

app = Flask(__name__)
app.config.update(
    SECRET_KEY=os.environ["SESSION_SECRET"],
    SESSION_TYPE="redis",
    SESSION_REDIS=Redis(port=int(os.environ["REDIS_PORT"])),
    SESSION_USE_SIGNER=bool(os.environ.get("SIGNER")),
    SESSION_SERIALIZATION_FORMAT=os.environ.get("SERIALIZER", "msgpack"),
)
Session(app)
logins = LoginManager(app)


class User(UserMixin):
    def __init__(self, name):
        self.id = name


logins.user_loader(User)


@app.get("/login")
def form():
    return '<form method="post"><input name="user"><button>Log in</button></form>'


@app.post("/login")
def login():
    user = request.form.get("user", "zoe")
    app.session_interface.regenerate(session)
    roles = [role for role in request.form.get("roles", "").split(",") if role]
    session["user"] = {"id": int(user) if user.isdigit() else user, "roles": roles}
    session["count"] = 0
    if os.environ.get("LOGIN"):
        login_user(User(user))
    return redirect("/", 303)


@app.post("/increment")
def increment():
    if "user" not in session:
        return jsonify(error="log in first"), 403
    session["count"] += 1
    return jsonify(count=session["count"])


@app.post("/logout")
def logout():
    if os.environ.get("LOGIN"):
        logout_user()
        session.pop("user")
    else:
        session.clear()
    return jsonify(bye=True)


@app.get("/")
@app.get("/<path:path>")
def index(path=""):
    seen = {name.lower(): value for name, value in request.headers.items()}
    return jsonify(user=session.get("user"), count=session.get("count"), seen=seen)


if __name__ == "__main__":
    app.run(port=int(os.environ["PORT"]))
