-- What `watch` of version 0.1.0 left behind (tables of version 1, November 2026): an alert of `login` is on, its message waits, another was refused.
CREATE TABLE histogram (name TEXT NOT NULL, hour INTEGER NOT NULL, what TEXT NOT NULL, data BLOB NOT NULL,
  PRIMARY KEY (name, hour, what));
INSERT INTO "histogram" VALUES('login',498810,'total',X'1C84931400000039789C2D88B109002010C4CEB422085682BBB89C1B58DA3A935B088E20F2A64820A5F52429CAE0D73DAD3E558F8D01198F4804B6E302ABBA0673');
INSERT INTO "histogram" VALUES('login',498810,'connect',X'1C84931400000039789C2D88B109002010C4CEB422085682BBB89C1B58DA3A935B088E20F2A64820A5F52429CAE0D73DAD3E558F8D01198F4804B6E302ABBA0673');
CREATE TABLE incident (
  key TEXT NOT NULL, since INTEGER NOT NULL, ended INTEGER, name TEXT NOT NULL, vantage TEXT NOT NULL, target TEXT NOT NULL,
  culprit TEXT NOT NULL, phase TEXT NOT NULL, worst_ms REAL NOT NULL, rounds INTEGER NOT NULL, bad INTEGER NOT NULL,
  sentence TEXT NOT NULL, PRIMARY KEY (key, since));
INSERT INTO "incident" VALUES('login@here',1795718610,NULL,'login','here','127.0.0.1:1','edge','connect_refused',0.328716,7,7,'connect_refused: Connection refused (os error 111).');
CREATE TABLE outbox (
  id INTEGER PRIMARY KEY, receiver TEXT NOT NULL, event TEXT NOT NULL, attempts INTEGER NOT NULL, due INTEGER NOT NULL);
INSERT INTO "outbox" VALUES(1,'webhook 127.0.0.1:1 #80775a9d','{"key":"login@here","check":"login","vantage":"here","target":"127.0.0.1:1","resolved":false,"since":1795718610,"ended":null,"blame":{"culprit":"edge","phase":"connect_refused","ms":0.137186,"sentence":"connect_refused: Connection refused (os error 111)."},"labels":{"team":"edge"},"link":"http://127.0.0.1:0/check/login"}',2,1795718614);
CREATE TABLE refused (
  receiver TEXT NOT NULL, key TEXT NOT NULL, event TEXT NOT NULL, why TEXT NOT NULL, at INTEGER NOT NULL,
  PRIMARY KEY (receiver, key));
INSERT INTO "refused" VALUES('webhook 127.0.0.1:1 #80775a9d','other@here','{"key":"other@here","check":"login","vantage":"here","target":"127.0.0.1:1","resolved":false,"since":1795718610,"ended":null,"blame":{"culprit":"edge","phase":"connect_refused","ms":0.137186,"sentence":"connect_refused: Connection refused (os error 111)."},"labels":{"team":"edge"},"link":"http://127.0.0.1:0/check/login"}','it answered 400 Bad Request',1795718612);
CREATE TABLE round (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, scheduled INTEGER NOT NULL, started INTEGER NOT NULL, total_ms REAL NOT NULL,
  success INTEGER NOT NULL, culprit TEXT, sick TEXT, rtt_ms REAL, data TEXT NOT NULL);
INSERT INTO "round" VALUES(1,'login',1795718610932162716,1795718610933546336,0.156195,0,'edge',NULL,NULL,'{"name":"login","address":"127.0.0.1:1","scheduled":1795718610932162716,"started":1795718610933546336,"total_ms":0.156195,"success":false,"reason":"connect_refused","local":null,"verdict":"aborted/edge","target_verdict":"aborted/edge","target_culprit":"edge","culprit":"edge","sick":null,"rtt_ms":null,"grade":"app + host","sentence":"connect_refused: Connection refused (os error 111).","parts":[["connect","client_app",0.017244],["connect","client",0.001765],["connect","unattributed",0.137186]]}');
INSERT INTO "round" VALUES(2,'login',1795718611332162716,1795718611333409811,0.142203,0,'edge',NULL,NULL,'{"name":"login","address":"127.0.0.1:1","scheduled":1795718611332162716,"started":1795718611333409811,"total_ms":0.142203,"success":false,"reason":"connect_refused","local":null,"verdict":"aborted/edge","target_verdict":"aborted/edge","target_culprit":"edge","culprit":"edge","sick":null,"rtt_ms":null,"grade":"app + host","sentence":"connect_refused: Connection refused (os error 111).","parts":[["connect","client_app",0.019113],["connect","client",0.002626],["connect","unattributed",0.120464]]}');
CREATE TABLE state (name TEXT PRIMARY KEY, data TEXT NOT NULL);
INSERT INTO "state" VALUES('login','{"recent":[[1795718612,{"culprit":"edge","phase":"connect_refused","ms":0.328716,"sentence":"connect_refused: Connection refused (os error 111)."}],[1795718612,{"culprit":"edge","phase":"connect_refused","ms":0.149132,"sentence":"connect_refused: Connection refused (os error 111)."}],[1795718613,{"culprit":"edge","phase":"connect_refused","ms":0.15778,"sentence":"connect_refused: Connection refused (os error 111)."}]],"active":{"since":1795718610,"blame":{"culprit":"edge","phase":"connect_refused","ms":0.328716,"sentence":"connect_refused: Connection refused (os error 111)."},"told":true,"rounds":7,"bad":7},"good":0,"fired":[1795718611]}');
INSERT INTO "state" VALUES('prober','{"recent":[[1795718610,null],[1795718611,null],[1795718611,null],[1795718612,null],[1795718612,null],[1795718612,null],[1795718613,null]],"active":null,"good":7,"fired":[]}');
CREATE INDEX round_by_check ON round (name, started);
CREATE INDEX round_by_time ON round (started);
PRAGMA user_version = 1;
