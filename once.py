import sys
src=open('/tmp/rr/s.py').read().replace("k,_=s.accept();","k,_=s.accept(); n+=1; (os._exit(0) if n>8 else None);").replace("while True:","import os\nn=0\nwhile True:")
exec(src)
