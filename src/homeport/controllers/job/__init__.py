"""Jobs: pods that run to their end, counted once each."""

from homeport.controllers.job.controller import JobController
from homeport.controllers.job.ttl import FinishedJobs

__all__ = ["FinishedJobs", "JobController"]
