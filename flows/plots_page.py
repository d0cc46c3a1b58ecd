"""The page of `dvc plots`, with the scripts that draw it: DVC's own page loads them from the network.

Usage: ``python -m flows.plots_page > FILE``, a template that `plots.html_template` of the configuration of
DVC names; `make install` does both.
"""

import vl_convert

_VEGA_LITE = "v5_8"
"""Of the fifth version, as the templates of DVC are."""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
{{refresh_tag}}
<title>DVC plots</title>
<script>{scripts}</script>
<style>
  body {{ font-family: system-ui, sans-serif; }}
  table {{ border-spacing: 15px; }}
</style>
</head>
<body>
{{plot_divs}}
</body>
</html>"""


def page() -> str:
    """The template, about a megabyte; DVC puts its plots into it."""
    return _PAGE.format(scripts=vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", _VEGA_LITE))


if __name__ == "__main__":
    print(page())
