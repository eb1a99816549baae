package simtest
import ("testing";"nbdbench/sim";"nbdbench/devices";"nbdbench/devices/history";"nbdbench/devices/catalog";"fmt")
type pr struct{ c *devices.Cache; m devices.Device }
func (p *pr) Observe(e *history.Event){ fmt.Println(e); if p.c==nil {return}
 fmt.Printf("     seq %d flying %d dirty %d :", p.c.Seq(), p.c.Flying(), p.c.Dirty())
 for x:=p.c.Oldest(); x!=nil; x=x.Newer(){ fmt.Printf(" [%d,%d)v%d F%d",x.Off/512,x.End/512,x.Content.Stamp,x.First)}
 fmt.Println()
}
func TestDbg(t *testing.T){ o:=flags(); p:=&pr{}; o.Sink=p; o.Around=func(l *sim.Loop, d catalog.Device) devices.Device { p.c=d.(drive).Cache(); return d }
 _,err:=Run(sim.Seed(*one),o); fmt.Println(err)}
