import sys
from scripts.simulation.trial import simulate
from scripts.simulation.weather import Level
for a in sys.argv[1:]:
    if ":" in a:
        lo,hi,lv=a.split(":"); 
        for s in range(int(lo),int(hi)):
            o=simulate(s,level=Level(lv) if lv else None)
            print(o.seed,o.level.value,o.blocks,o.included,o.rescues,o.liquidations,o.deaths,o.digest,round(o.processor_seconds,2))
            for v in o.violations[:4]: print("   ",v)
    else:
        s,_,lv=a.partition("@")
        o=simulate(int(s),print,Level(lv) if lv else None); print(o)
        for v in o.violations: print(v)
