"""Runs one Nexmark query in Flink, in a mini cluster of its own. Prints the job's net seconds and the peak memory of its JVM.

The seconds exclude what happens before the job: the start of Python and the JVM, and planning. With --count it prints the number of
rows in the answer instead.
"""

import argparse
import json
import os
import pathlib

HERE = pathlib.Path(__file__).parent
# The queries that need event time, for windows or an order.
WITH_WATERMARK = {"q05", "q07", "q08", "q11", "q12", "q18"}
WATERMARK = ", WATERMARK FOR date_time AS date_time - INTERVAL '4' SECOND"
CONFIGURATION = {
    "parallelism.default": "2",
    "taskmanager.numberOfTaskSlots": "2",
    "taskmanager.memory.managed.size": "1g",
    "taskmanager.memory.network.min": "256m",
    "taskmanager.memory.network.max": "256m",
    "state.backend.type": "hashmap",
    "pipeline.object-reuse": "true",
    "table.local-time-zone": "UTC",
    "table.exec.mini-batch.enabled": "true",
    "table.exec.mini-batch.allow-latency": "2 s",
    "table.exec.mini-batch.size": "50000",
    "table.optimizer.agg-phase-strategy": "TWO_PHASE",
    "table.optimizer.distinct-agg.split.enabled": "true",
}


def environment(folder, query):
    from pyflink.common import Configuration
    from pyflink.table import EnvironmentSettings, TableEnvironment

    configuration = Configuration()
    for key, value in CONFIGURATION.items():
        configuration.set_string(key, value)
    settings = EnvironmentSettings.new_instance().in_streaming_mode().with_configuration(configuration).build()
    tables = TableEnvironment.create(settings)
    text = "\n".join(line for line in (HERE / "tables.sql").read_text().splitlines() if not line.startswith("--"))
    text = text.replace("{folder}", f"file://{folder}")
    text = text.replace("{watermark}", WATERMARK if query in WITH_WATERMARK else "")
    for statement in filter(str.strip, text.split(";")):
        tables.execute_sql(statement)
    return tables


def highest_memory():
    """Returns the peak resident memory of the JVMs that this process started, in bytes."""
    children = pathlib.Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    total = 0
    for child in children:
        status = pathlib.Path(f"/proc/{child}/status").read_text()
        if status.startswith("Name:\tjava"):
            total += next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) * 1024
    return total


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("query")
    parser.add_argument("--count", action="store_true")
    arguments = parser.parse_args()
    os.environ.setdefault("JVM_ARGS", "-Xms1g -Xmx8g")

    from pyflink.table import TableDescriptor

    tables = environment(os.path.realpath(arguments.folder), arguments.query)
    query = (HERE / "flink" / f"{arguments.query}.sql").read_text().rstrip().rstrip(";")
    if arguments.count:
        rows = 0
        with tables.execute_sql(f"SELECT count(*) FROM ({query})").collect() as results:
            for row in results:
                rows = row[0]
        print(json.dumps({"rows": rows}))
        return
    job = tables.sql_query(query).execute_insert(TableDescriptor.for_connector("blackhole").build()).get_job_client()
    seconds = job.get_job_execution_result().result().get_net_runtime() / 1000
    print(json.dumps({"seconds": seconds, "memory": highest_memory()}))


if __name__ == "__main__":
    main()
