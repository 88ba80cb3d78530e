from .test_connection_costs import calls_of, MANY
async def test_x() -> None:
    c = await calls_of()
    print({k: v/MANY for k,v in c.items() if "instancecheck" in k or "suppress" in k or "listcomp" in k or "genexpr" in k or "unpark" in k})
    print(sum(c.values())/MANY)
