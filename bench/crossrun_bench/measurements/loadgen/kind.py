"""LoadGen, as the report and `compare` know it."""

from crossrun_bench.measurements.interface import Kind
from crossrun_bench.measurements.loadgen.result import LoadGenResult
from crossrun_bench.measurements.loadgen.series import comparable
from crossrun_bench.measurements.loadgen.summary import summarise
from crossrun_bench.measurements.loadgen.tables import tables
from crossrun_bench.view import figures
from crossrun_bench.view.section import plain

LOADGEN = Kind(
    result=LoadGenResult,
    subject=lambda result: figures.model(result.model),
    summarise=summarise,
    tables=tables,
    sections=lambda summary: plain(tables(summary)),
    comparable=comparable,
)
