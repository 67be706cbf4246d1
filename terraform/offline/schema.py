#!/usr/bin/env python3
"""Mines schema.json out of the npm package @cdktf/provider-aws, which was generated from the AWS provider's own schema.

  npm pack @cdktf/provider-aws@21.22.1 && tar xzf cdktf-provider-aws-*.tgz    (made from provider 6.25.0)
  CDKTF_AWS_LIB=package/lib python3 schema.py instance iam-role …              names as in package/lib; writes schema.json here
"""
import re,json,sys,os
L=os.environ['CDKTF_AWS_LIB']+'/'  # lib/ of the unpacked npm package @cdktf/provider-aws
ST={'string':'"string"','boolean':'"bool"','number':'"number"'}
def ctype(ty,sc):
    if ty=='simple': return ST.get(sc,'"dynamic"')
    m={'stringList':'"string"','numberList':'"number"','stringMap':'"string"','booleanList':'"bool"','boolean':'"bool"','string':'"string"'}
    el=m.get(sc,'"string"')
    return '["%s",%s]'%(ty,el)
def attrs_of(body):
    out=[]
    for m in re.finditer(r'^\s+(\w+): \{\s*\n\s+value: (.*?),\s*\n\s+isBlock: (true|false),\s*\n\s+type: "(\w+)",\s*\n\s+storageClassType: "(\w+)"',body,re.M):
        out.append(m.groups())
    return out
def body_after(js,start):
    i=js.index('const attrs = {',start); j=js.index('\n    };',i) if js.find('\n    };',i)!=-1 else -1
    k=js.find('\n        };',i)
    e=min(x for x in (j,k) if x!=-1)
    return js[i:e]
def iface(dts,name):
    m=re.search(r'export interface %s(?: extends [^{]*)? \{(.*?)\n\}'%name,dts,re.S)
    req=set()
    if m:
        for p in re.finditer(r'#(\w+) \w+#\w+\}.*?\n(?:.*?\n)*?\s+readonly (\w+)(\??):',m.group(1)):
            if not p.group(3): req.add(p.group(1))
    return req
def block(js,dts,fn,depth=0):
    m=re.search(r'^function %s\('%fn,js,re.M)
    b=body_after(js,m.start())
    nm=fn[:-len('ToHclTerraform')]; nm=nm[0].upper()+nm[1:]
    req={x.split('#')[-1] for x in iface(dts,nm)}
    return mk(js,dts,b,req,depth)
def snake(s): return re.sub(r'([A-Z])',lambda m:'_'+m.group(1).lower(),s)
def reqs(dts,name):
    m=re.search(r'export interface %s(?: extends [^{]*)? \{(.*?)\n\}'%name,dts,re.S)
    if not m: return set()
    r=set()
    for p in re.finditer(r'\{@link [^}]*#(\w+) \S+\}(?:(?!\*/).)*\*/\s*readonly \w+(\??):',m.group(1),re.S):
        if not p.group(2): r.add(p.group(1))
    return r
def mk(js,dts,b,req,depth):
    A={};B={}
    for n,v,isb,ty,sc in attrs_of(b):
        f=re.search(r'(\w+ToHclTerraform)\b',v)
        fns=[x for x in re.findall(r'(\w+ToHclTerraform)\b',v) if not re.match(r'(string|number|boolean|listMapperHcl|hashMapper|any)',x) ]
        if isb=='true' and fns and sc!='Timeouts':
            fn=fns[-1]; nm=fn[:-len('ToHclTerraform')]; nm=nm[0].upper()+nm[1:]
            m=re.search(r'^function %s\('%fn,js,re.M)
            if ty=='struct': nest='single'
            else: nest=ty
            B[n]={'nesting':nest,'max':0 if 'listMapper' in v else 1,'block':mk(js,dts,body_after(js,m.start()),reqs(dts,nm),depth+1)}
        else:
            A[n]={'type':ctype(ty,sc),'required':n in req,'optional':n not in req,'computed':n not in req and depth==0}
    return {'attributes':A,'blocks':B}
def res(d,tf):
    js=open(L+d+'/index.js').read(); dts=open(L+d+'/index.d.ts').read()
    C=''.join(x.capitalize() for x in d.split('-'))
    i=js.index('synthesizeHclAttributes()')
    s=mk(js,dts,body_after(js,i),reqs(dts,C+'Config'),0)
    cls=js[js.index('class %s extends'%C):]
    for m in re.finditer(r"return (?:cdktf\.Fn\.tolist\()?this\.get(String|Number|Boolean|List|StringMap|NumberList)Attribute\('(\w+)'\)",cls):
        t={'String':'"string"','Number':'"number"','Boolean':'"bool"','List':'["list","string"]','StringMap':'["map","string"]','NumberList':'["list","number"]'}[m.group(1)]
        if m.group(2) not in s['attributes'] and m.group(2) not in s['blocks']:
            s['attributes'][m.group(2)]={'type':t,'required':False,'optional':False,'computed':True}
    return s
out={}
for d in sys.argv[1:]: out['aws_'+d.replace('-','_')]=res(d,d)
json.dump(out,open('schema.json','w'),indent=1,sort_keys=True)
for k,v in out.items(): print(k,len(v['attributes']),'attrs',sorted(v['blocks']),'required',[a for a,x in v['attributes'].items() if x['required']])
