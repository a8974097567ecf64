from importlib import import_module

Migration = import_module("zoo.migrations.0004_website").Migration
