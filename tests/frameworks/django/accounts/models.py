"""Users who are their name."""

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.db import models


class User(AbstractBaseUser):
    name = models.CharField(max_length=64, primary_key=True)
    USERNAME_FIELD = "name"
    objects = BaseUserManager()
