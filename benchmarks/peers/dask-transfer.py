"""Prints how many milliseconds dask.distributed takes to bring an array to another worker process."""
import sys
import time

import numpy
from dask.distributed import Client, LocalCluster, wait


def make(count, _round):
    return numpy.arange(count, dtype="float64")


def take(values):
    return float(values[-1])


if __name__ == "__main__":
    count, rounds = int(sys.argv[1]) // 8, int(sys.argv[2])
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster:
        with Client(cluster) as client:
            first, second = list(client.scheduler_info()["workers"])
            for round in range(rounds):
                made = client.submit(make, count, round, workers=[first], pure=False)
                wait(made)
                start = time.time()
                assert client.submit(take, made, workers=[second], pure=False).result() == count - 1
                print((time.time() - start) * 1000)
                del made
