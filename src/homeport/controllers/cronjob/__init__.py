"""CronJobs: Jobs at the times of a schedule."""

from homeport.controllers.cronjob.controller import CronJobController

__all__ = ["CronJobController"]
