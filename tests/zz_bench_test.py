import time, resource, tracemalloc, datetime as dt, uuid
from io import StringIO
import pytest
from django.core.management import call_command
from zoo.filling import migrate, fill, matching_apps
from django_runbook.fixtures import export

def test_bench(database, tmp_path):
    migrate(database); fill(database)
    A=matching_apps(database).get_model("zoo","Animal")
    A.objects.using(database.alias).bulk_create((A(name=f"Ant {n}", enclosure_id="north", length=1.5, notes={"a":n}) for n in range(200000)), batch_size=5000)
    t=time.time(); export(database,["zoo.Animal"],tmp_path/"a.json"); e=time.time()-t
    tracemalloc.start(); 
    export(database,["zoo.Keeper"],tmp_path/"k.json")
    tracemalloc.reset_peak(); base=tracemalloc.get_traced_memory()[0]
    export(database,["zoo.Animal"],tmp_path/"a.json"); peak=tracemalloc.get_traced_memory()[1]-base; tracemalloc.stop()
    t=time.time(); call_command("dumpdata","zoo.Animal",database=database.alias,output=str(tmp_path/"d.json"),verbosity=0); d=time.time()-t
    print(database.connection.vendor, "export",round(e,1),"dumpdata",round(d,1),"peak MB",round(peak/1e6,1), (tmp_path/"a.json").stat().st_size/1e6)
    A=matching_apps(database).get_model("zoo","Ticket")
    A.objects.using(database.alias).bulk_create((A(number=n+10) for n in range(200000)), batch_size=5000)
    t=time.time(); export(database,["zoo.Ticket"],tmp_path/"a.json"); e=time.time()-t
    t=time.time(); call_command("dumpdata","zoo.Ticket",database=database.alias,output=str(tmp_path/"d.json"),verbosity=0); d=time.time()-t
    print("ticket",round(e,1),round(d,1), (tmp_path/"a.json").read_text().strip()==(tmp_path/"d.json").read_text().strip())
