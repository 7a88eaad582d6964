drop function timeline(uuid[]);
drop function counts();
drop function list(text, text, text, bigint, int);
drop function state_name("char", int, boolean);
drop function view(bigint[], int, boolean);
