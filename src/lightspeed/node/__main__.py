import sys

from lightspeed.node.service import main

sys.exit(main())
