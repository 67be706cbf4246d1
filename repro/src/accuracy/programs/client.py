# One HTTPS request with Python's ssl and urllib: its name, the roots, the TLS version.
import ssl, sys, urllib.request
name, roots, version = sys.argv[1:]
context = ssl.create_default_context(cafile=roots)
if version == '1.2':
    context.maximum_version = ssl.TLSVersion.TLSv1_2
urllib.request.urlopen(f'https://{name}/', context=context, timeout=15).read()
