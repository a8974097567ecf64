from importlib import import_module

from django.db import migrations

NAMES = ["0001_initial", "0002_animals", "0003_measures", "0004_website"]


class Migration(migrations.Migration):
    replaces = [("zoo", name) for name in NAMES]
    initial = True
    dependencies = []
    operations = [
        operation
        for name in NAMES
        for operation in import_module(f"zoo.migrations.{name}").Migration.operations
    ]
