from django.apps import AppConfig


class SheavesConfig(AppConfig):
    name = "sheaves"
    label = "harvest"
