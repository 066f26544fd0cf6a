"""`python inside.py DATA SCENARIO`: become a node process of the cluster in DATA and run one scenario."""

import asyncio
import sys
from pathlib import Path

from homeport.node.holder_client import ensure_holder
from homeport.node.namespaces import enter
from homeport.node.runtime.state import living_sandboxes

if __name__ == "__main__":
    data = Path(sys.argv[1])
    run = data / "run"
    holder = asyncio.run(ensure_holder(run, data / "logs" / "holder.log", join=living_sandboxes(run)))
    enter(holder)
    import scenarios

    asyncio.run(getattr(scenarios, sys.argv[2])(data))
