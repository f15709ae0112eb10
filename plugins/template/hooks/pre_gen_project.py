"""Refuses a name that could not be imported, before anything is written."""

import sys

REWARD, PACKAGE = "{{ cookiecutter.reward }}", "{{ cookiecutter.package }}"

for name in (REWARD, PACKAGE):
    if not name.isidentifier() or name != name.lower():
        sys.exit(f"{name!r} is no lower-case Python identifier; choose another, for example close_number")
