"""A site on Django's own sessions and authentication. It knows nothing of the gateway.

ENGINE (a module, Django's own cache by default), BACKEND (django, django-redis), SERIALIZER and COMPRESSOR of
django-redis say how."""

import os
import sys
from wsgiref.simple_server import WSGIServer, make_server

import django
from django.conf import settings
from django.http import HttpResponse, JsonResponse

redis = f"redis://127.0.0.1:{os.environ['REDIS_PORT']}/0"
if os.environ.get("BACKEND") == "django":
    cache = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": redis}
else:
    options = {}
    if os.environ.get("SERIALIZER"):
        options["SERIALIZER"] = f"django_redis.serializers.{os.environ['SERIALIZER']}"
    if os.environ.get("COMPRESSOR"):
        options["COMPRESSOR"] = f"django_redis.compressors.{os.environ['COMPRESSOR']}"
    cache = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": redis, "OPTIONS": options}
settings.configure(
    SECRET_KEY=os.environ["SESSION_SECRET"],
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    CACHES={"default": cache},
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    AUTH_USER_MODEL="accounts.User",
    SESSION_ENGINE=os.environ.get("ENGINE", "django.contrib.sessions.backends.cache"),
    SESSION_REDIS={"host": "127.0.0.1", "port": int(os.environ["REDIS_PORT"])},
    INSTALLED_APPS=["accounts", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    USE_TZ=True,
)
django.setup()

from accounts.models import User  # noqa: E402
from django.contrib.auth import login as begin, logout as end  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.urls import path, re_path  # noqa: E402


def login(request):
    if request.method == "GET":
        return HttpResponse('<form method="post"><input name="user"><button>Log in</button></form>')
    user, _ = User.objects.get_or_create(pk=request.POST.get("user", "zoe"))
    begin(request, user, "django.contrib.auth.backends.ModelBackend")
    request.session["roles"] = [role for role in request.POST.get("roles", "").split(",") if role]
    request.session["count"] = 0
    return HttpResponse(status=303, headers={"Location": "/"})


def increment(request):
    if not request.user.is_authenticated:
        return JsonResponse({"error": "log in first"}, status=403)
    request.session["count"] += 1
    return JsonResponse({"count": request.session["count"]})


def logout(request):
    end(request)
    return JsonResponse({"bye": True})


def index(request):
    user = None
    if request.user.is_authenticated:
        name = request.user.pk
        user = {"id": int(name) if name.isdigit() else name, "roles": request.session.get("roles")}
    seen = {name.lower(): value for name, value in request.headers.items()}
    return JsonResponse({"user": user, "count": request.session.get("count"), "seen": seen})


urlpatterns = [path("login", login), path("increment", increment), path("logout", logout), re_path("", index)]

if __name__ == "__main__":
    from django.core.wsgi import get_wsgi_application

    call_command("migrate", run_syncdb=True, verbosity=0)
    server = make_server("127.0.0.1", int(os.environ["PORT"]), get_wsgi_application(), server_class=WSGIServer)
    sys.exit(server.serve_forever())
