# The CMake package `branchsae`: find_package(branchsae) gives branchsae::engine ... and branchsae::branchsae for all.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/branchsae)

# The public headers. cpu/ and cuda/ have none: engine/device.h opens both.
foreach(folder engine model loader analysis)
  install(DIRECTORY ${folder} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/branchsae FILES_MATCHING PATTERN "*.h")
endforeach()

install(EXPORT branchsaeTargets NAMESPACE branchsae:: DESTINATION ${package_folder})
configure_package_config_file(cmake/branchsaeConfig.cmake.in ${CMAKE_BINARY_DIR}/branchsaeConfig.cmake
                              INSTALL_DESTINATION ${package_folder})
# Before 1.0 a minor version may change the interface.
write_basic_package_version_file(${CMAKE_BINARY_DIR}/branchsaeConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/branchsaeConfig.cmake ${CMAKE_BINARY_DIR}/branchsaeConfigVersion.cmake
              cmake/FindOnnxProto.cmake DESTINATION ${package_folder})
install(FILES LICENSE README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
