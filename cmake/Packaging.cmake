# `cpack -G DEB` in the build folder: a Debian package. doc/service.md says how to use it,
# tests/lint/package.sh looks into it.
include(GNUInstallDirs)

set(packaging ${CMAKE_BINARY_DIR}/packaging)
set(package_doc ${CMAKE_INSTALL_DATADIR}/doc/dwspool)

install(FILES systemd/dwspool.service systemd/dwspool.socket DESTINATION lib/systemd/system)
install(FILES config/dwspool.yaml DESTINATION /etc/dwspool)
install(FILES config/dwspool.schema.json DESTINATION ${CMAKE_INSTALL_DATADIR}/dwspool)
install(FILES config/dwspool.yaml DESTINATION ${package_doc}/examples)
install(DIRECTORY deploy/prometheus deploy/grafana DESTINATION ${package_doc}/examples)
install(FILES README.md DESTINATION ${package_doc})
install(DIRECTORY doc/ DESTINATION ${package_doc}/doc FILES_MATCHING PATTERN "*.md")

# Manual pages. dwspool.yaml(5) is the example itself: there is one place where keys are explained.
file(READ config/dwspool.yaml keys)
string(REPLACE "\\" "\\e" keys "${keys}")
string(REPLACE "-" "\\-" keys "${keys}")
string(REGEX REPLACE "\n([.'])" "\n\\\\&\\1" keys "${keys}")
configure_file(doc/man/dwspool.yaml.5.in ${packaging}/dwspool.yaml.5 @ONLY)
configure_file(doc/man/dwspool.1.in ${packaging}/dwspool.1 @ONLY)
configure_file(deploy/debian/changelog.in ${packaging}/changelog @ONLY)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/config/dwspool.yaml)
foreach(page dwspool.yaml.5 dwspool.1 changelog)
  execute_process(COMMAND gzip -9nkf ${packaging}/${page} COMMAND_ERROR_IS_FATAL ANY)
endforeach()
install(FILES ${packaging}/dwspool.1.gz DESTINATION ${CMAKE_INSTALL_DATADIR}/man/man1)
install(FILES ${packaging}/dwspool.yaml.5.gz DESTINATION ${CMAKE_INSTALL_DATADIR}/man/man5)
install(FILES ${packaging}/changelog.gz DESTINATION ${package_doc})

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME dwspool)
set(CPACK_PACKAGE_CONTACT "dwspool <root@localhost>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ
    GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION database)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS ca-certificates)
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION "connection pooler for GaussDB(DWS) and PostgreSQL
 dwspool stands between applications and the coordinators of a GaussDB(DWS)
 cluster, or a PostgreSQL primary with its standbys. It shares backend
 connections between clients, logs in where stock drivers cannot, finds the
 host that takes the work, and runs again what a switchover has broken.")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
    ${CMAKE_SOURCE_DIR}/deploy/debian/conffiles ${CMAKE_SOURCE_DIR}/deploy/debian/postinst
    ${CMAKE_SOURCE_DIR}/deploy/debian/prerm ${CMAKE_SOURCE_DIR}/deploy/debian/postrm)
include(CPack)
