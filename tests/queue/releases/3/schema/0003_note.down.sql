drop table if exists note;
