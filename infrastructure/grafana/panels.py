"""Panels of the dashboards: what all of a kind have in common, and how they are laid out."""

from collections.abc import Callable

from grafana_foundation_sdk.builders import bargauge, common, dashboard, piechart, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.common import BarGaugeDisplayMode, TableColoredBackgroundCellOptions, VizOrientation
from grafana_foundation_sdk.models.dashboard import DataSourceRef, FieldColorModeId, GridPos
from grafana_foundation_sdk.models.piechart import PieChartLabels
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

# The uids of provisioning/datasources/rva.yml.
PROMETHEUS = DataSourceRef("prometheus", "rva_prometheus")
TRINO = DataSourceRef("trino-datasource", "rva_trino")
WIDTH = 24


class TrinoQuery(Dataquery, Builder[Dataquery]):
    """A statement for the plug-in `trino-datasource`, for which Grafana's library has no class."""

    TIME_SERIES, TABLE = 0, 1

    def __init__(self, sql: str, form: int):
        self.sql, self.form = sql, form

    def build(self) -> Dataquery:
        return self

    def to_json(self) -> dict:
        return {"refId": "A", "datasource": TRINO, "rawSQL": self.sql, "format": self.form}


# A panel whose place is still open: width, height, and the panel.
Sized = tuple[int, int, Builder]


def sql_panel(kind: Callable, title: str, sql: str, form: int = TrinoQuery.TABLE) -> Builder:
    text = "\n".join(line.strip() for line in sql.strip().splitlines())
    return kind().title(title).datasource(TRINO).with_target(TrinoQuery(text, form))


def every_row() -> common.ReduceDataOptions:
    """Each row of the answer is a value; Grafana's own choice would be the last alone."""
    return common.ReduceDataOptions().values(True)


def sql_stat(title: str, sql: str, unit: str = "short", width: int = 4) -> Sized:
    return width, 4, sql_panel(stat.Panel, title, sql).unit(unit).reduce_options(every_row())


def sql_series(title: str, sql: str, unit: str = "short", width: int = 16) -> Sized:
    panel = sql_panel(timeseries.Panel, title, sql, TrinoQuery.TIME_SERIES).unit(unit)
    # Rows of gold are minutes: a finer grid would be holes.
    return width, 8, panel.interval("1m").fill_opacity(10)


def sql_bars(title: str, sql: str, unit: str = "short", width: int = 8) -> Sized:
    panel = sql_panel(bargauge.Panel, title, sql).unit(unit).reduce_options(every_row())
    panel.orientation(VizOrientation.HORIZONTAL).display_mode(BarGaugeDisplayMode.BASIC)
    return width, 10, panel.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.CONTINUOUS_BLUES))


def sql_pie(title: str, sql: str, width: int = 8) -> Sized:
    panel = sql_panel(piechart.Panel, title, sql).reduce_options(every_row())
    return width, 10, panel.display_labels([PieChartLabels.NAME, PieChartLabels.PERCENT])


def sql_table(title: str, sql: str, width: int = 24) -> Sized:
    return width, 10, sql_panel(table.Panel, title, sql).filterable(True)


def sql_grid(title: str, sql: str, width: int = 16) -> Sized:
    """A table whose cells are coloured by their value, as a map."""
    panel = sql_panel(table.Panel, title, sql).cell_options(TableColoredBackgroundCellOptions())
    return width, 12, panel.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.CONTINUOUS_YL_RD))


def prom_stat(title: str, query: str, unit: str = "short", width: int = 4) -> Sized:
    target = prometheus.Dataquery().expr(query).instant().ref_id("A").datasource(PROMETHEUS)
    return width, 4, stat.Panel().title(title).datasource(PROMETHEUS).unit(unit).with_target(target)


def prom_series(title: str, *queries: tuple[str, str], unit: str = "short", width: int = 8) -> Sized:
    """Lines, each a query and what its series are called."""
    panel = timeseries.Panel().title(title).datasource(PROMETHEUS).unit(unit)
    for name, (query, legend) in zip("ABCDEFGH", queries):
        target = prometheus.Dataquery().expr(query).range().legend_format(legend)
        panel.with_target(target.ref_id(name).datasource(PROMETHEUS))
    return width, 8, panel


def prom_table(title: str, query: str, width: int = 24) -> Sized:
    target = prometheus.Dataquery().expr(query).instant().format(PromQueryFormat.TABLE).ref_id("A")
    return width, 6, table.Panel().title(title).datasource(PROMETHEUS).with_target(target.datasource(PROMETHEUS))


def lay_out(board: dashboard.Dashboard, sections: dict[str, list[list[Sized]]]) -> dashboard.Dashboard:
    """Puts the rows of each section below one another, and numbers the panels."""
    number, y = 1, 0
    for title, rows in sections.items():
        board.with_row(dashboard.Row(title).id(number).grid_pos(GridPos(h=1, w=WIDTH, x=0, y=y)))
        number, y = number + 1, y + 1
        for row in rows:
            x = 0
            for width, height, panel in row:
                board.with_panel(panel.id(number).grid_pos(GridPos(h=height, w=width, x=x, y=y)))
                number, x = number + 1, x + width
            assert x <= WIDTH, f"{title}: found a row {x} wide, wanted at most {WIDTH}"
            y += max(height for _, height, _ in row)
    return board
