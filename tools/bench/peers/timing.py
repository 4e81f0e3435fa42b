"""The same clock for every peer: one run to warm up, then at least three and until the time is over."""
import statistics
import time


def time_runs(f, seconds, limit=None):
    """Seconds of f(): {"median_seconds", "best_seconds", "runs"}. When the first run takes longer than `limit`, it is the only one."""
    begin = time.perf_counter()
    f()
    first = time.perf_counter() - begin
    if limit is not None and first > limit:
        return {"median_seconds": first, "best_seconds": first, "runs": 1}
    times = []
    begin = time.perf_counter()
    while len(times) < 3 or time.perf_counter() - begin < seconds:
        t = time.perf_counter()
        f()
        times.append(time.perf_counter() - t)
        if limit is not None and time.perf_counter() - begin > limit:
            break
    return {"median_seconds": statistics.median(times), "best_seconds": min(times), "runs": len(times)}
