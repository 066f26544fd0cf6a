"""`python inside.py DATA SCENARIO`: become a node process of the cluster in DATA and run one scenario."""

import asyncio
import os
import sys
from pathlib import Path

from homeport.node.holder_client import ensure_holder
from homeport.node.namespaces import enter, find_holder
from homeport.node.runtime.state import living_sandboxes

if __name__ == "__main__":
    data = Path(sys.argv[1])
    run = data / "run"
    if os.fork() == 0:  # entering namespaces takes a process that has never had another thread
        asyncio.run(ensure_holder(run, data / "logs" / "holder.log", join=living_sandboxes(run)))
        os._exit(0)
    os.wait()
    holder = find_holder(run)
    assert holder is not None
    enter(holder)
    import scenarios
    import uvloop

    uvloop.run(getattr(scenarios, sys.argv[2])(data))
