-- A believable shop: customers, products, orders, a flood of events; and most of what applications use of PostgreSQL.
create schema shop;
create type shop.order_status as enum ('new', 'paid', 'shipped', 'returned');
create domain shop.email as text check (value ~ '^[^@]+@[^@]+$');

create table shop.users (
    id uuid primary key default gen_random_uuid(),
    email shop.email unique not null,
    display_name text not null,
    settings jsonb not null default '{}',
    roles text[] not null default '{customer}',
    created_at timestamptz not null default now(),
    deleted_at timestamptz
);
comment on table shop.users is 'Everyone who ever signed up';

create table shop.products (
    id int generated always as identity primary key,
    name text not null,
    price numeric(10, 2) not null check (price >= 0),
    tags text[] not null default '{}',
    search tsvector generated always as (to_tsvector('simple', name)) stored
);

create table shop.orders (
    id bigint generated always as identity primary key,
    user_id uuid not null references shop.users,
    product_id int not null references shop.products,
    status shop.order_status not null default 'new',
    quantity int not null check (quantity > 0),
    note text,
    ordered_at timestamptz not null default now()
);

create table shop.events (
    id bigint generated always as identity,
    at timestamptz not null,
    user_id uuid,
    kind text not null,
    payload jsonb not null
) partition by range (at);
create table shop.events_2026_10 partition of shop.events for values from ('2026-10-01') to ('2026-11-01');
create table shop.events_2026_11 partition of shop.events for values from ('2026-11-01') to ('2026-12-01');

create table shop.order_log (order_id bigint, status shop.order_status, at timestamptz default now());

insert into shop.users (id, email, display_name, settings, created_at)
select md5('user' || i)::uuid, 'user' || i || '@example.com', 'User ' || i,
       jsonb_build_object('theme', case when i % 2 = 0 then 'dark' else 'light' end, 'newsletter', i % 3 = 0),
       timestamptz '2026-01-01' + i * interval '5 minutes'
from generate_series(1, 40000) i;

insert into shop.products (name, price, tags)
select 'Product ' || i || ' ' || substr(md5(i::text), 1, 8), (i % 500) + 0.99, array['t' || i % 10, 'u' || i % 7]
from generate_series(1, 2000) i;

insert into shop.orders (user_id, product_id, status, quantity, note, ordered_at)
select md5('user' || 1 + i % 40000)::uuid, 1 + i % 2000, (enum_range(null::shop.order_status))[1 + i % 4], 1 + i % 5,
       case when i % 7 = 0 then E'leave at the door\n\tsecond floor, \\N is not null' end,
       timestamptz '2026-02-01' + i * interval '2 minutes'
from generate_series(1, 150000) i;

insert into shop.events (at, user_id, kind, payload)
select timestamptz '2026-10-01' + i * interval '10 seconds', md5('user' || 1 + i % 40000)::uuid,
       (array['view', 'click', 'buy', 'login'])[1 + i % 4],
       jsonb_build_object('path', '/p/' || i % 2000, 'ref', md5(i::text), 'ms', i % 997)
from generate_series(1, 300000) i;

create index on shop.orders (user_id);
create index on shop.events (user_id);
create index on shop.products using gin (search);
create index on shop.events using brin (at);

create function shop.log_status() returns trigger language plpgsql as $$
begin
    insert into shop.order_log (order_id, status) values (new.id, new.status);
    return new;
end $$;
create trigger log_status after update of status on shop.orders for each row
    when (old.status is distinct from new.status) execute function shop.log_status();

alter table shop.orders enable row level security;
create policy own_orders on shop.orders using (user_id::text = current_setting('shop.user', true));

create materialized view shop.sales as
select p.name, sum(o.quantity) as sold, sum(o.quantity * p.price) as revenue
from shop.orders o join shop.products p on p.id = o.product_id group by p.name;
create unique index on shop.sales (name);
create view shop.active_users as select id, email, display_name from shop.users where deleted_at is null;

select lo_from_bytea(4711, convert_to(repeat('An invoice, scanned. ', 20000), 'UTF8'));
comment on large object 4711 is 'invoice 2026-11';
