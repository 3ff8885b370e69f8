"""S3 (moto) on two free ports of loopback, the second with TLS, with one bucket, and one user who may use it and signs every request.

    server.py BUCKET

The first line of standard output has the ports and the user's key, as JSON; each line after it is one request, its method
and its path. Ends with its standard input.
"""

import json
import os
import sys
import threading
import urllib.request

# Nothing of this machine's own accounts.
for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]
os.environ.update(AWS_ACCESS_KEY_ID="root", AWS_SECRET_ACCESS_KEY="root", AWS_DEFAULT_REGION="eu-central-1")
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"

import boto3
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

bucket = sys.argv[1]
told = threading.Event()


class Telling(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, *_):
        if told.is_set():
            print(f"{self.command} {self.path}", flush=True)

    def log(self, *_):
        pass


application = DomainDispatcherApplication(create_backend_app)


def serve(certificate):
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Telling, ssl_context=certificate)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


# A certificate that nobody signed.
port, tls = serve(None), serve("adhoc")
endpoint = f"http://127.0.0.1:{port}"

# While nobody is asked who they are: the bucket, the user, and what they may.
boto3.client("s3", endpoint_url=endpoint).create_bucket(
    Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
)
iam = boto3.client("iam", endpoint_url=endpoint)
iam.create_user(UserName="tidecast")
allowed = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
iam.put_user_policy(UserName="tidecast", PolicyName="snapshots", PolicyDocument=json.dumps(allowed))
key = iam.create_access_key(UserName="tidecast")["AccessKey"]
# From here on everybody is, and the signature has to be right.
ask = urllib.request.Request(f"{endpoint}/moto-api/reset-auth", data=b"0", headers={"content-type": "text/plain"})
urllib.request.urlopen(ask).read()

print(json.dumps({"port": port, "tls": tls, "key": key["AccessKeyId"], "secret": key["SecretAccessKey"]}), flush=True)
told.set()
sys.stdin.read()
