"""The common parts of all offline pages: layout, style, the script for charts, and the function that fills a template.

An offline page is a single file that contains its scripts, styles, pictures and data and loads nothing over a network.
"""

from importlib import resources

from byrote.checks import require

__all__ = ["fill", "text"]


def text(part: str, name: str) -> str:
    """Read a file of a package as text.

    >>> text("byrote.pages", "page.css").startswith(":root")
    True
    """
    return (resources.files(part) / name).read_text("utf-8")


def fill(part: str, template: str, **context: object) -> str:
    """Fill a template and return the page as text.

    Args:
        part: the package that contains the template. The template may extend `layout.html.jinja` of `byrote.pages`.
        template: the name of the template.
        context: the values of the template's variables; strings are escaped.

    Raises:
        ModuleNotFoundError: the `report` extra is not installed.
    """
    jinja2 = require("jinja2", "report")
    loaders = [jinja2.FunctionLoader(lambda name, home=home: _or_none(home, name)) for home in (part, __name__)]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return str(environment.get_template(template).render(**context))


def _or_none(part: str, name: str) -> str | None:
    try:
        return text(part, name)
    except FileNotFoundError:
        return None
