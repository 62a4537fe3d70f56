"""The progress of a download."""


def report(job, size):
    """Counts `size` more bytes, and says so at each new percent."""
    job.done += size
    total = job.total
    percent = min(100, 100 * job.done // total) if total else -1
    if percent > job.percent:
        job.percent = percent
        job.progress(min(job.done, total), total)
