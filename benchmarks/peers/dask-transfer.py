"""For each two lines of input: prints how many milliseconds dask.distributed takes from the submission of a
task whose input is an array of so many bytes in another worker process until the task has read a
number of each 4 KiB of it. The array is there when the first line is answered."""
import os
import sys
import time

import numpy
from dask.distributed import Client, LocalCluster, wait


def make(count, _round):
    return numpy.arange(count, dtype="float64")


def take(values):
    total = float(values[::512].sum())
    return total, time.time(), os.getpid()


if __name__ == "__main__":
    count = int(sys.argv[1]) // 8
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as cluster:
        with Client(cluster) as client:
            first, second = list(client.scheduler_info()["workers"])
            pids = client.run(os.getpid)
            assert pids[first] != pids[second]
            for round, _ in enumerate(sys.stdin):
                made = client.submit(make, count, round, workers=[first], pure=False)
                wait(made)
                print("made", flush=True)
                next(sys.stdin)
                assert list(client.who_has([made]).values()) == [(first,)]
                start = time.time()
                total, read, pid = client.submit(take, made, workers=[second], pure=False).result()
                reads = -(-count // 512)
                assert pid == pids[second] and total == 512 * reads * (reads - 1) / 2
                print((read - start) * 1000, flush=True)
                del made
