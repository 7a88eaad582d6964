drop function admit(int);
drop function enqueue(json);
