"""Prints how many trivial tasks a second dask.distributed runs on two one-thread worker processes."""
import sys
import time

from dask.distributed import Client, LocalCluster


def add_one(x):
    return x + 1


if __name__ == "__main__":
    tasks = int(sys.argv[1])
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster:
        with Client(cluster) as client:
            client.gather(client.map(add_one, range(1000)))
            start = time.time()
            assert client.gather(client.map(add_one, range(tasks), pure=False)) == list(range(1, tasks + 1))
            print(tasks / (time.time() - start))
