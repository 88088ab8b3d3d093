// Log-ins by pgjdbc. Usage: java Login PORT [USER PASSWORD tls|clear]...
// Prints for each "in", or the SQLSTATE of the refusal.
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Properties;

public class Login {
  public static void main(String[] arguments) {
    for (int i = 1; i < arguments.length; i += 3) {
      Properties properties = new Properties();
      properties.setProperty("user", arguments[i]);
      properties.setProperty("password", arguments[i + 1]);
      properties.setProperty("sslmode", arguments[i + 2].equals("tls") ? "require" : "disable");
      String url = "jdbc:postgresql://127.0.0.1:" + arguments[0] + "/postgres";
      try (Connection connection = DriverManager.getConnection(url, properties);
          Statement statement = connection.createStatement();
          ResultSet result = statement.executeQuery("select 40 + 2")) {
        result.next();
        System.out.println(result.getInt(1) == 42 ? "in" : "nonsense");
      } catch (SQLException error) {
        System.out.println(error.getSQLState());
      }
    }
  }
}
