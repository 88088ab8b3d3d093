"""SQLAlchemy and Django as applications use them, in `auto`, before a PostgreSQL and a coordinator.
psycopg 3 and asyncpg have files of their own (drivers_*_test.py)."""

import datetime

import django
import psycopg2
import pytest
import sqlalchemy as sa
from django.conf import settings
from django.db import connections, models, transaction
from django.db.utils import IntegrityError
from dwspool_testing.proxy import wait_until
from sqlalchemy import orm

if not settings.configured:
    settings.configure(DATABASES={"default": {}}, USE_TZ=True, TIME_ZONE="Asia/Shanghai",
                       DEFAULT_AUTO_FIELD="django.db.models.AutoField")
    django.setup()

both = pytest.mark.parametrize("place", ["postgres-auto", "dws-auto"], indirect=True)

Base = orm.declarative_base()


class Author(Base):
    __tablename__ = "sa_author"
    id = sa.Column(sa.Integer, primary_key=True)
    name = sa.Column(sa.String(50), nullable=False)
    books = orm.relationship("Book", back_populates="author")


class Book(Base):
    __tablename__ = "sa_book"
    id = sa.Column(sa.Integer, primary_key=True)
    title = sa.Column(sa.String(50), unique=True)
    author_id = sa.Column(sa.ForeignKey("sa_author.id"))
    author = orm.relationship(Author, back_populates="books")


@pytest.fixture
def engine(place):
    url = f"postgresql+psycopg2://{place.user}@127.0.0.1:{place.proxy.port}/postgres"
    engine = sa.create_engine(url, pool_pre_ping=True, pool_size=3, max_overflow=5)
    Base.metadata.create_all(engine)
    yield engine
    Base.metadata.drop_all(engine)
    engine.dispose()


@both
def test_sqlalchemy(place, engine):
    assert engine.dialect.server_version_info[0] >= 9
    assert {"sa_author", "sa_book"} <= set(sa.inspect(engine).get_table_names())
    with orm.Session(engine) as session:
        session.add(Author(name="Ann", books=[Book(title=f"title {i}") for i in range(50)]))
        session.commit()
        session.add(Book(title="title 1"))
        with pytest.raises(sa.exc.IntegrityError):
            session.commit()
        session.rollback()
        author = session.execute(sa.select(Author)).scalar_one()
        assert len(author.books) == 50
        with session.begin_nested():
            author.name = "Bea"
        session.rollback()
        assert session.execute(sa.select(Author.name)).scalar_one() == "Ann"
    with engine.connect().execution_options(stream_results=True, max_row_buffer=7) as connection:
        assert len(list(connection.execute(sa.select(Book.title)))) == 50


@both
def test_sqlalchemy_options(place, engine):
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        assert connection.execute(sa.text("show transaction_isolation")).scalar() == \
            "repeatable read"
    # One after the other: SQLAlchemy sets what comes together in an order that changes with Python's
    # hash seed, and psycopg2 sends nothing for a `readonly` that was set before `autocommit`.
    connected = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    with connected.execution_options(postgresql_readonly=True) as connection:
        assert connection.execute(sa.select(sa.func.count(Book.id))).scalar() == 0
        with pytest.raises(sa.exc.InternalError) as caught:
            connection.execute(sa.insert(Author).values(name="nobody"))
        assert isinstance(caught.value.orig, psycopg2.errors.ReadOnlySqlTransaction)
    # The connection goes back to SQLAlchemy's pool, and its options are taken back.
    with engine.begin() as connection:
        connection.execute(sa.insert(Author).values(name="somebody"))
        assert connection.execute(sa.text("show transaction_isolation")).scalar() == \
            "read committed"


@both
def test_sqlalchemy_does_not_see_backends_end(place, engine):
    checked_out = [engine.connect() for _ in range(3)]
    for connection in checked_out:
        assert connection.execute(sa.text("select 1")).scalar() == 1
        connection.close()
    ended = place.proxy.metric("dwspool_backends_closed_total")
    killed = place.observer.value(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = 'postgres' "
        "and backend_type = 'client backend' and pid <> pg_backend_pid()")
    assert killed > 0
    wait_until(lambda: place.proxy.metric("dwspool_backends_closed_total") == ended + killed,
               what="the backends' end")
    before = engine.pool.checkedin()
    for _ in range(5):
        with engine.connect() as connection:
            assert connection.execute(sa.text("select 2")).scalar() == 2
    assert engine.pool.checkedin() == before


class Person(models.Model):
    name = models.CharField(max_length=50, unique=True)
    born = models.DateTimeField()

    class Meta:
        app_label = "people"


@pytest.fixture
def database(place):
    alias = f"{place.target}_{place.mode}"
    connections.databases[alias] = {
        "ENGINE": "django.db.backends.postgresql", "NAME": "postgres", "USER": place.user,
        "HOST": "127.0.0.1", "PORT": place.proxy.port, "CONN_MAX_AGE": None}
    connections.ensure_defaults(alias)
    connections.prepare_test_settings(alias)
    connection = connections[alias]
    with connection.schema_editor() as editor:
        editor.create_model(Person)
    yield alias
    with connection.schema_editor() as editor:
        editor.delete_model(Person)
    connection.close()


@both
def test_django(place, database):
    people = Person.objects.using(database)
    bound = place.pinned()
    moment = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
    with transaction.atomic(using=database):
        people.bulk_create(Person(name=f"person {i}", born=moment) for i in range(300))
        with pytest.raises(IntegrityError), transaction.atomic(using=database):
            people.create(name="person 1", born=moment)
        with transaction.atomic(using=database):
            assert people.select_for_update().filter(name="person 1").update(name="one") == 1
    assert people.count() == 300
    with pytest.raises(ZeroDivisionError), transaction.atomic(using=database):
        people.all().delete()
        raise ZeroDivisionError
    assert people.get(name="one").born == moment
    # A server-side cursor: in autocommit Django declares it WITH HOLD.
    assert sum(1 for _ in people.iterator(chunk_size=50)) == 300
    assert place.pinned() - bound <= 1
    with connections[database].cursor() as cursor:
        cursor.execute("show timezone")
        assert cursor.fetchone() == ("UTC",)
        cursor.execute("select to_char(born, 'HH24') from people_person limit 1")
        assert cursor.fetchone() == ("00",)
    assert people.filter(born__year=2026).exclude(name="one").count() == 299
