"""What all pages share: the layout of an offline page, its style, its chart script, and how its template is filled.

An offline page is one file that loads nothing over any network: scripts, styles, pictures and data are inside it.
"""

from importlib import resources

from byrote.checks import require

__all__ = ["fill", "text"]


def text(part: str, name: str) -> str:
    """A file of a package as text.

    >>> text("byrote.pages", "page.css").startswith(":root")
    True
    """
    return (resources.files(part) / name).read_text("utf-8")


def fill(part: str, template: str, **context: object) -> str:
    """A page as text.

    Args:
        part: the package that holds the template, which may extend `layout.html.jinja` of this package.
        template: the name of the template.
        context: the values of its variables; texts are escaped.

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
