"""The templates of the pages, strict and escaping: an unknown name is an error, a text is never markup."""

from jinja2 import Environment, PackageLoader, StrictUndefined, Template


def template(name: str) -> Template:
    """The template NAME.html.j2."""
    environment = Environment(
        loader=PackageLoader("stages.page", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(f"{name}.html.j2")
