// pgjdbc through dwspool. Usage: java -cp postgresql.jar Jdbc.java PORT MODE
// Prints "ok NAME" or "FAILED NAME: why" for each test.
import java.io.StringReader;
import java.io.StringWriter;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Callable;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.copy.CopyManager;

public class Jdbc {
  interface Test { void run() throws Exception; }

  static String port;
  static String mode;

  static Connection connect(String... options) throws SQLException {
    Properties properties = new Properties();
    properties.setProperty("user", "postgres");
    properties.setProperty("connectTimeout", "10");
    properties.setProperty("socketTimeout", "20");
    for (int i = 0; i < options.length; i += 2) properties.setProperty(options[i], options[i + 1]);
    return DriverManager.getConnection("jdbc:postgresql://127.0.0.1:" + port + "/postgres",
        properties);
  }

  static void check(Object got, Object wanted) {
    if (!String.valueOf(got).equals(String.valueOf(wanted))) {
      throw new AssertionError("got " + got + ", not " + wanted);
    }
  }

  static void fails(String state, Callable<?> work) throws Exception {
    try {
      work.call();
    } catch (SQLException error) {
      check(error.getSQLState(), state);
      return;
    }
    throw new AssertionError("no error " + state);
  }

  static String value(Connection connection, String sql) throws SQLException {
    try (Statement statement = connection.createStatement();
         ResultSet rows = statement.executeQuery(sql)) {
      rows.next();
      return rows.getString(1);
    }
  }

  static void execute(Connection connection, String sql) throws SQLException {
    try (Statement statement = connection.createStatement()) {
      statement.execute(sql);
    }
  }

  static void queries() throws Exception {
    try (Connection c = connect()) {
      check(value(c, "select 1"), 1);
      check(value(c, "select 'süß'"), "süß");
      fails("42P01", () -> value(c, "select * from no_such_table"));
      check(value(c, "select 'alive'"), "alive");
      check(c.isValid(5), true);
      check(c.getMetaData().getTables(null, "pg_catalog", "pg_class", null).next(), true);
    }
  }

  // Past prepareThreshold (5) the statement is a named one on the server.
  static void preparedStatements() throws Exception {
    try (Connection c = connect()) {
      try (PreparedStatement s = c.prepareStatement("select ?::int * 2, ?::text")) {
        for (int i = 0; i < 20; ++i) {
          s.setInt(1, i);
          s.setString(2, "text " + i);
          try (ResultSet rows = s.executeQuery()) {
            rows.next();
            check(rows.getInt(1), 2 * i);
            check(rows.getString(2), "text " + i);
          }
        }
      }
      // Another type for a parameter makes it prepare again.
      try (PreparedStatement s = c.prepareStatement("select ?")) {
        for (int i = 0; i < 16; ++i) {
          if (i % 8 < 4) s.setInt(1, i); else s.setString(1, "t" + i);
          try (ResultSet rows = s.executeQuery()) {
            rows.next();
            check(rows.getString(1), i % 8 < 4 ? "" + i : "t" + i);
          }
        }
      }
      // More statements than its cache holds: the oldest are closed.
      for (int turn = 0; turn < 2; ++turn) {
        for (int i = 0; i < 300; ++i) {
          try (PreparedStatement s = c.prepareStatement("select " + i + " + ?")) {
            s.setInt(1, turn);
            try (ResultSet rows = s.executeQuery()) {
              rows.next();
              check(rows.getInt(1), i + turn);
            }
          }
        }
      }
    }
  }

  static void transactions() throws Exception {
    try (Connection c = connect()) {
      execute(c, "create table if not exists jdbc_t(id int primary key)");
      c.setAutoCommit(false);
      try (PreparedStatement s = c.prepareStatement("insert into jdbc_t values (?)")) {
        for (int i = 0; i < 12; ++i) {
          s.setInt(1, i);
          s.executeUpdate();
          if (i % 2 == 0) c.commit(); else c.rollback();
        }
      }
      check(value(c, "select count(*) from jdbc_t"), 6);
      fails("23505", () -> { execute(c, "insert into jdbc_t values (0)"); return 0; });
      fails("25P02", () -> value(c, "select 1"));
      c.rollback();
      Savepoint savepoint = c.setSavepoint();
      execute(c, "insert into jdbc_t values (100)");
      c.rollback(savepoint);
      execute(c, "insert into jdbc_t values (101)");
      c.commit();
      c.setAutoCommit(true);
      check(value(c, "select max(id) from jdbc_t"), 101);
      execute(c, "drop table jdbc_t");
    }
  }

  static void autosave() throws Exception {
    try (Connection c = connect("autosave", "always")) {
      c.setAutoCommit(false);
      check(value(c, "select 1"), 1);
      fails("22012", () -> value(c, "select 1/0"));
      check(value(c, "select 2"), 2);
      c.commit();
    }
  }

  static void isolationAndReadOnly() throws Exception {
    if (mode.equals("transaction")) return;  // pgjdbc makes session characteristics of these
    try (Connection c = connect(); Connection other = connect()) {
      c.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
      c.setReadOnly(true);
      c.setAutoCommit(false);
      for (int i = 0; i < 3; ++i) {
        check(value(c, "show transaction_isolation"), "serializable");
        fails("25006", () -> { execute(c, "create table never(i int)"); return 0; });
        c.rollback();
        check(value(other, "show transaction_isolation"), "read committed");
        check(value(other, "show transaction_read_only"), "off");
      }
    }
  }

  static void batches() throws Exception {
    try (Connection c = connect()) {
      execute(c, "create table if not exists jdbc_batch(id int primary key, t text)");
      for (boolean autoCommit : new boolean[] {true, false}) {
        c.setAutoCommit(autoCommit);
        execute(c, "truncate jdbc_batch");
        try (PreparedStatement s = c.prepareStatement("insert into jdbc_batch values (?, ?)")) {
          for (int i = 0; i < 1000; ++i) {
            s.setInt(1, i);
            s.setString(2, "text " + i);
            s.addBatch();
          }
          check(s.executeBatch().length, 1000);
          for (int i = 2000; i < 2010; ++i) {
            s.setInt(1, i == 2005 ? 1 : i);
            s.setString(2, "x");
            s.addBatch();
          }
          try {
            s.executeBatch();
            throw new AssertionError("a duplicate was inserted");
          } catch (BatchUpdateException error) {
            check(error.getSQLState(), "23505");
          }
          if (!autoCommit) c.rollback();
        }
        c.setAutoCommit(true);
        check(value(c, "select count(*) from jdbc_batch"), 1000);
      }
      try (Statement s = c.createStatement()) {
        for (int i = 0; i < 50; ++i) s.addBatch("insert into jdbc_batch values (" + i + ", 'y') "
            + "on conflict do nothing");
        s.executeBatch();
      }
      execute(c, "drop table jdbc_batch");
    }
  }

  static void fetchSize() throws Exception {
    try (Connection c = connect()) {
      c.setAutoCommit(false);
      for (int turn = 0; turn < 7; ++turn) {
        try (PreparedStatement s = c.prepareStatement("select generate_series(1, ?)")) {
          s.setInt(1, 1000);
          s.setFetchSize(64);
          try (ResultSet rows = s.executeQuery()) {
            int count = 0;
            while (rows.next()) ++count;
            check(count, 1000);
          }
        }
        if (turn % 2 == 0) c.commit();
      }
      c.rollback();
    }
  }

  static void copy() throws Exception {
    try (Connection c = connect()) {
      execute(c, "drop table if exists jdbc_copy; create table jdbc_copy(id int, t text)");
      CopyManager copies = c.unwrap(PGConnection.class).getCopyAPI();
      StringBuilder lines = new StringBuilder();
      for (int i = 0; i < 20000; ++i) lines.append(i).append("\ttext ").append(i).append('\n');
      check(copies.copyIn("copy jdbc_copy from stdin", new StringReader(lines.toString())), 20000);
      StringWriter out = new StringWriter();
      copies.copyOut("copy (select * from jdbc_copy order by id) to stdout", out);
      check(out.toString().length(), lines.length());
      check(out.toString().contentEquals(lines), true);
      fails("22P02", () -> copies.copyIn("copy jdbc_copy from stdin",
          new StringReader("no number\tx\n".repeat(20000))));
      org.postgresql.copy.CopyIn cancelled = copies.copyIn("copy jdbc_copy from stdin");
      cancelled.writeToCopy("1\tx\n".getBytes(), 0, 4);
      cancelled.cancelCopy();
      c.setAutoCommit(false);
      copies.copyIn("copy jdbc_copy from stdin", new StringReader("-1\tx\n"));
      c.rollback();
      c.setAutoCommit(true);
      check(value(c, "select count(*) from jdbc_copy"), 20000);
      execute(c, "drop table jdbc_copy");
    }
  }

  static void cancelByTimeout() throws Exception {
    try (Connection c = connect(); Statement s = c.createStatement()) {
      s.setQueryTimeout(1);
      fails("57014", () -> s.executeQuery("select pg_sleep(68)"));
      check(value(c, "select 'alive'"), "alive");
    }
  }

  static void cancelByHand() throws Exception {
    ExecutorService threads = Executors.newSingleThreadExecutor();
    try (Connection c = connect(); Connection watcher = connect();
         Statement s = c.createStatement()) {
      Future<?> sleeper = threads.submit(() -> {
        fails("57014", () -> s.executeQuery("select pg_sleep(69)"));
        return null;
      });
      while (value(watcher, "select count(*) from pg_stat_activity where state = 'active' "
          + "and query = 'select pg_sleep(69)'").equals("0")) Thread.onSpinWait();
      s.cancel();
      sleeper.get(10, TimeUnit.SECONDS);
      check(value(c, "select 'alive'"), "alive");
    } finally {
      threads.shutdownNow();
    }
  }

  static void simpleQueryMode() throws Exception {
    try (Connection c = connect("preferQueryMode", "simple")) {
      c.setAutoCommit(false);
      try (PreparedStatement s = c.prepareStatement("select ?::int + 1")) {
        s.setInt(1, 4);
        try (ResultSet rows = s.executeQuery()) {
          rows.next();
          check(rows.getInt(1), 5);
        }
      }
      c.commit();
    }
  }

  static void startUpSettings() throws Exception {
    try (Connection c = connect("options", "-c work_mem=6MB", "currentSchema", "pg_catalog,public",
        "ApplicationName", "jdbc test")) {
      for (int i = 0; i < 3; ++i) {
        check(value(c, "show work_mem"), "6MB");
        check(value(c, "show search_path").replace(" ", ""), "pg_catalog,public");
        check(value(c, "show application_name"), "jdbc test");
      }
    }
  }

  static void reconnect() throws Exception {
    for (int i = 0; i < 5; ++i) {
      try (Connection c = connect()) {
        check(value(c, "select " + i), i);
      }
    }
  }

  static void notifications() throws Exception {
    if (mode.equals("transaction")) return;
    try (Connection c = connect(); Connection sender = connect()) {
      execute(c, "listen jdbc_channel");
      execute(sender, "notify jdbc_channel, 'payload'");
      PGNotification[] heard = c.unwrap(PGConnection.class).getNotifications(5000);
      check(heard[0].getParameter(), "payload");
    }
  }

  // Each client has its own statements S_1, S_2, ..., all of them on the same backends; all are
  // there at the same time.
  static void manyClients() throws Exception {
    int clients = 6;
    CyclicBarrier all = new CyclicBarrier(clients);
    ExecutorService threads = Executors.newFixedThreadPool(clients);
    try {
      List<Future<?>> results = new ArrayList<>();
      for (int n = 0; n < clients; ++n) {
        int number = n;
        results.add(threads.submit(() -> {
          try (Connection c = connect()) {
            check(value(c, "select 'here'"), "here");
            all.await(8, TimeUnit.SECONDS);
            for (int i = 0; i < 40; ++i) {
              c.setAutoCommit(i % 4 != 0);
              for (int kind = 0; kind < 3; ++kind) {
                try (PreparedStatement s = c.prepareStatement(
                    "select " + (number * 10 + kind) + " + ?::int")) {
                  s.setInt(1, i);
                  try (ResultSet rows = s.executeQuery()) {
                    rows.next();
                    check(rows.getInt(1), number * 10 + kind + i);
                  }
                }
              }
              if (!c.getAutoCommit()) c.commit();
            }
          }
          return null;
        }));
      }
      for (Future<?> result : results) result.get(30, TimeUnit.SECONDS);
    } finally {
      threads.shutdownNow();
    }
  }

  static void run(String name, Test test) {
    try {
      test.run();
      System.out.println("ok " + name);
    } catch (Throwable error) {
      System.out.print("FAILED " + name + ": ");
      error.printStackTrace(System.out);
    }
  }

  public static void main(String[] arguments) {
    port = arguments[0];
    mode = arguments[1];
    if (arguments.length > 2) {
      run("manyClients", Jdbc::manyClients);
      return;
    }
    run("queries", Jdbc::queries);
    run("preparedStatements", Jdbc::preparedStatements);
    run("transactions", Jdbc::transactions);
    run("autosave", Jdbc::autosave);
    run("isolationAndReadOnly", Jdbc::isolationAndReadOnly);
    run("batches", Jdbc::batches);
    run("fetchSize", Jdbc::fetchSize);
    run("copy", Jdbc::copy);
    run("cancelByTimeout", Jdbc::cancelByTimeout);
    run("cancelByHand", Jdbc::cancelByHand);
    run("simpleQueryMode", Jdbc::simpleQueryMode);
    run("startUpSettings", Jdbc::startUpSettings);
    run("reconnect", Jdbc::reconnect);
    run("notifications", Jdbc::notifications);
  }
}
