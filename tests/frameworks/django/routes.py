"""Pages that some may see and pages that all may, as Django tells them apart. It knows nothing of the gateway."""

import os
from wsgiref.simple_server import WSGIRequestHandler, make_server

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="of no use here",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
)
django.setup()

from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.urls import path, re_path  # noqa: E402


def protected(request, **_):
    return HttpResponse("protected")


def public(request):
    return HttpResponse("public")


urlpatterns = [
    re_path(r"^admin(?:/.*)?$", protected),
    path("users/<str:id>/edit", protected),
    path("secret.page", protected),
    path("café", protected),
    re_path(r"", public),
]


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


make_server("127.0.0.1", int(os.environ["PORT"]), get_wsgi_application(), handler_class=Quiet).serve_forever()
