"""For each line of input: prints how many milliseconds dask.distributed takes to bring an array of so
many bytes to another worker process, less what a task without input takes."""
import sys
import time

import numpy
from dask.distributed import Client, LocalCluster, wait


def make(count, _round):
    return numpy.arange(count, dtype="float64")


def take(values):
    return -1 if values is None else float(values[-1])


if __name__ == "__main__":
    count = int(sys.argv[1]) // 8
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster:
        with Client(cluster) as client:
            first, second = list(client.scheduler_info()["workers"])
            for round, _ in enumerate(sys.stdin):
                made = client.submit(make, count, round, workers=[first], pure=False)
                wait(made)
                start = time.time()
                client.submit(take, None, workers=[second], pure=False).result()
                alone = time.time() - start
                start = time.time()
                assert client.submit(take, made, workers=[second], pure=False).result() == count - 1
                print((time.time() - start - alone) * 1000, flush=True)
                del made
