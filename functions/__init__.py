"""What runs in Lambda.

Start-up makes some hundred thousand objects that live as long as the instance. Python's default is to look through them
for cycles after every 700 of them, again and again, which is a tenth of a cold start's CPU; here it looks seldom.
"""

import gc

COLLECT_AFTER_OBJECTS = 100_000

gc.set_threshold(COLLECT_AFTER_OBJECTS)
