PASSWORD = os.environ['DB_PASSWORD']
TOKEN = "${TOKEN}"
url = "https://user:password@example.org"
